"""Learning frameworks: how theta^S is learned in one round over a patch, by name.

Each is a function (theta, patch, inner, settings, ranks, rng), called on every rank with a patch of its own; on
return theta is the same on all ranks.
"""

from training.frameworks.alternate import alternate
from training.frameworks.dn import negotiate
from training.frameworks.joint import joint

SHARED = {"joint": joint, "alternate": alternate, "dn": negotiate}
