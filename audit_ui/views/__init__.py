"""One module per page; a view reads from the store and renders, in a worker thread."""
