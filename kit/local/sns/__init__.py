"""SNS of the local AWS: MiniStack's topics; e-mail is written to files, and who subscribes has to confirm."""

from kit.local.sns.service import Sns

__all__ = ["Sns"]
