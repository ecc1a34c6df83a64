# What the control role may do with the master key: wrap halves of patient keys, and open them again.
#
#   bao policy write replayvault-control control.hcl
#   bao token create -policy=replayvault-control -no-default-policy -period=24h
path "transit/encrypt/replayvault" {
  capabilities = ["update"]
}
path "transit/decrypt/replayvault" {
  capabilities = ["update"]
}
# Lets `replayvault doctor` see that this token may do no more than that.
path "sys/capabilities-self" {
  capabilities = ["update"]
}
