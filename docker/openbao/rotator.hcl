# What rotation may do with the master key: make versions and bring wraps under the newest, without seeing what is inside.
#
#   bao policy write replayvault-rotator rotator.hcl
#   bao token create -policy=replayvault-rotator -no-default-policy -period=24h
path "transit/keys/replayvault" {
  capabilities = ["read"]
}
path "transit/keys/replayvault/rotate" {
  capabilities = ["update"]
}
path "transit/rewrap/replayvault" {
  capabilities = ["update"]
}
# Lets `replayvault doctor` see that this token may do no more than that, and that upserts are off.
path "sys/capabilities-self" {
  capabilities = ["update"]
}
path "transit/config/keys" {
  capabilities = ["read"]
}
