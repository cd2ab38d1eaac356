"""What the NumPy reference says of compiled programs: probes of nodes, and the passes' contract."""

from staticnet.oracle.contract import Kept, check_numerics
from staticnet.oracle.probe import Probe

__all__ = ["Kept", "Probe", "check_numerics"]
