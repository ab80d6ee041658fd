"""SQL text: definitions of tables, checks that a build must pass, reports. A package, to come with the others."""
