"""A small shop: orders and users in SQL, products and sellers in MongoDB, one history of both."""
