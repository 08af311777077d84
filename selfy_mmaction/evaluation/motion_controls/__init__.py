# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""What simple features tell about the classes of the motion benchmark."""
