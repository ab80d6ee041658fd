"""The Spark jobs and the DataFrame functions that they call."""
