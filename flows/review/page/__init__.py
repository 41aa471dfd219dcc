"""The review as one HTML page: its tables, its charts, and the page that holds them."""
