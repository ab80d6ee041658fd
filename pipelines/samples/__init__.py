"""Makes tables of samples, domains, users and items from a raw log: the steps of a build."""
