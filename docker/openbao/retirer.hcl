# What retiring may do with the master key: take old versions out of use and back, and destroy those that are. No other
# setting of the key can be changed with it.
#
#   bao policy write replayvault-retirer retirer.hcl
#   bao token create -policy=replayvault-retirer -no-default-policy -ttl=1h
path "transit/keys/replayvault/config" {
  capabilities = ["update"]
  allowed_parameters = {
    "min_decryption_version" = []
    "min_encryption_version" = []
  }
}
path "transit/keys/replayvault/trim" {
  capabilities = ["update"]
}
# Lets `replayvault doctor` see that this token may do no more than that.
path "sys/capabilities-self" {
  capabilities = ["update"]
}
