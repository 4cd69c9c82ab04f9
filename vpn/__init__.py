"""dstack-vpn: a WireGuard mesh as one Pulumi stack."""
