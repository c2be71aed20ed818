"""Other backgrounds for images that have masks: whose a view gets, and how it is put in."""
