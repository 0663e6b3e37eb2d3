"""What a template may say, for the local AWS; the data itself stands in `kit.fis_rules.catalog`, below all rooms.

Whether the local AWS can *do* an action is `kit.local.fis.actions`.
"""

from kit.fis_rules.catalog import ACTIONS, TARGET_TYPES, ActionSpec, ParameterSpec

__all__ = ["ACTIONS", "TARGET_TYPES", "ActionSpec", "ParameterSpec"]
