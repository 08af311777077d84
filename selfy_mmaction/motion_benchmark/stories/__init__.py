# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Second version of the benchmark: stories told in four orders of the same frames."""
