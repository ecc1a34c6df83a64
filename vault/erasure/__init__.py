"""Erasing a patient: the share goes, then rows and objects, and a certificate says so once no backup can hold it."""
