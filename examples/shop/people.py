"""Who may act in the shop: a choice of names, for this is an example and has no login."""

PEOPLE = {
    "ann": "Ann Archer, owner",
    "bob": "Bob Berg, support",
    "web": "the web shop",
    "import": "the import job",
}

CHOICE = ("ann", "bob")
"""Who can be chosen on the pages."""
