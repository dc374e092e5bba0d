"""The shop's Lifecycle for the command: ``--app examples.shop.application:lifecycle``.

``SHOP_DATABASE`` and ``MONGODB_URI`` say where the shop is.
"""

from __future__ import annotations

import atexit
import os
from contextlib import ExitStack

from examples.shop.workspace import open_shop

_open = ExitStack()
atexit.register(_open.close)
_shop = _open.enter_context(
    open_shop(
        os.environ.get("SHOP_DATABASE", "sqlite:///.demo/shop/shop.sqlite"),
        os.environ.get("MONGODB_URI", "mongodb://127.0.0.1:27017"),
    )
)
lifecycle = _shop.lifecycle
