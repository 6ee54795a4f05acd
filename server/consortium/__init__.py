"""The lead's side of a consortium: its folder, its authority, the list of hospitals, the gateway, and its runs."""
