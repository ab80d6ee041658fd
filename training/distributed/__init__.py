"""How the workers of a run find each other and exchange data: the only folder of training/ that imports Horovod."""
