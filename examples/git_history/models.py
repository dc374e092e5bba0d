"""What a replay writes: files as SQLAlchemy rows, commits as mongoengine documents."""

from __future__ import annotations

import mongoengine
from mongoengine.fields import (
    DateTimeField,
    EmbeddedDocumentListField,
    IntField,
    ListField,
    StringField,
)
from sqlalchemy import BigInteger, String
from sqlalchemy.dialects.mysql import VARCHAR
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from examples.git_history.git import EXECUTABLE, SUBMODULE, SYMLINK
from lifecycle import audited, pre_persist, pre_update

FILE = "git.File"
COMMIT = "git.Commit"

# MariaDB and MySQL need a length (768 characters is the most an index holds) and, as git does,
# must tell "readme" from "README".
Path = String().with_variant(VARCHAR(768, collation="utf8mb4_bin"), "mysql", "mariadb")


class Base(DeclarativeBase):
    """The tables of this example."""


@audited(entity=FILE, label="path")
class File(Base):
    """A file of the tree as it stands at the last replayed commit; a rename changes its key."""

    __tablename__ = "files"

    path: Mapped[str] = mapped_column(Path, primary_key=True)
    mode: Mapped[str] = mapped_column(String(6))
    blob: Mapped[str] = mapped_column(String(64))
    size: Mapped[int | None] = mapped_column(BigInteger)
    lines: Mapped[int | None]
    kind: Mapped[str] = mapped_column(String(20))

    @pre_persist
    @pre_update(when=("mode", "lines"))
    def name_kind(self) -> None:
        """Say in a word what the mode and the content make of the file."""
        kinds = {SUBMODULE: "submodule", SYMLINK: "symbolic link", EXECUTABLE: "program"}
        self.kind = kinds.get(self.mode, "binary" if self.lines is None else "text")


class FileStatistics(mongoengine.EmbeddedDocument):
    """What a commit did to one file; the numbers are missing for binary content."""

    path = StringField(required=True)
    status = StringField(required=True, choices=("A", "M", "T", "R", "D"))
    former_path = StringField()
    added = IntField()
    removed = IntField()


@audited(entity=COMMIT, label="summary")
class Commit(mongoengine.Document):
    """A commit of the repository's main line, by its place in it."""

    meta = {"collection": "commits", "indexes": ["position"]}

    sha = StringField(primary_key=True)
    position = IntField(required=True)
    parents = ListField(StringField())
    author_name = StringField()
    author_email = StringField()
    authored_at = DateTimeField()
    zone = StringField()
    message = StringField()
    summary = StringField()
    added = IntField()
    removed = IntField()
    files = EmbeddedDocumentListField(FileStatistics)

    @pre_persist
    def summarise(self) -> None:
        """Derive the first line of the message and the totals of the lines."""
        self.summary = self.message.partition("\n")[0]
        self.added = sum(file.added or 0 for file in self.files)
        self.removed = sum(file.removed or 0 for file in self.files)
