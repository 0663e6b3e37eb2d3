"""Write the e-mails that SNS would send as files: nothing leaves this machine."""

from __future__ import annotations

import os
import re
from email.message import EmailMessage
from pathlib import Path

SENDER = "AWS Notifications <no-reply@sns.amazonaws.com>"
# The oldest files are removed, so that a cloud that stands for days does not fill the disk.
MAILS_KEPT_MAX = 1_000
ADDRESS = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+")
ADDRESS_LENGTH_MAX = 254


def is_address(text: str) -> bool:
    """Return whether SNS takes the text as an e-mail address."""
    return len(text) <= ADDRESS_LENGTH_MAX and ADDRESS.fullmatch(text) is not None


def compose(to: str, subject: str, text: str) -> EmailMessage:
    """Return a plain-text e-mail. Line breaks in the subject become spaces, as a header cannot have them."""
    mail = EmailMessage()
    mail["From"], mail["To"] = SENDER, to
    mail["Subject"] = " ".join(subject.splitlines())
    mail.set_content(text)
    return mail


class Mailbox:
    """The folder of the mails, oldest first by name (`00000001-to@example.com.eml`)."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._sent = 0

    def send(self, mail: EmailMessage) -> Path:
        """Write a mail, and remove the oldest ones beyond the limit."""
        self._folder.mkdir(parents=True, exist_ok=True)
        self._sent += 1
        file = self._folder / f"{self._sent:08d}-{re.sub(r'[^A-Za-z0-9@._+-]', '_', mail['To'])}.eml"
        unfinished = file.with_suffix(".part")
        unfinished.write_bytes(mail.as_bytes())
        os.replace(unfinished, file)
        for old in sorted(self._folder.glob("*.eml"))[:-MAILS_KEPT_MAX]:
            old.unlink(missing_ok=True)
        return file
