"""Serve the control plane of load balancers: the elbv2 API over MiniStack's stores."""
