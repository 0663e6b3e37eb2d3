"""Set the niceness of this process; fails without the right to: raise_priority.py NICENESS"""

import os
import sys

os.setpriority(os.PRIO_PROCESS, 0, int(sys.argv[1]))
