"""Sessions and tickets between Redis (sealed records), the catalog (registry, epochs) and their holders."""
