"""The Spark session and Delta tables."""
