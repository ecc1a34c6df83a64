"""The plain page: static resources of the package and the routes that serve them."""
