"""Gives access to the Java side of a Spark session."""

from py4j.java_gateway import JavaObject, JVMView
from pyspark.sql import SparkSession


def jvm(spark: SparkSession) -> JVMView:
    """Returns the JVM of a classic session. Raises RuntimeError under Spark Connect, which has none."""
    if spark._jvm is None:
        raise RuntimeError("the Spark session has no JVM: start it with spark-submit, not with Spark Connect")
    return spark._jvm


def hadoop_path(spark: SparkSession, *names: str) -> tuple[JavaObject, JavaObject]:
    """Joins `names` to a Hadoop path and returns it with its file system."""
    path = jvm(spark).org.apache.hadoop.fs.Path(*names)
    return path, path.getFileSystem(hadoop_configuration(spark))


def hadoop_configuration(spark: SparkSession) -> JavaObject:
    """Returns the Hadoop configuration of a session, with its credentials for object stores."""
    return spark._jsc.hadoopConfiguration()
