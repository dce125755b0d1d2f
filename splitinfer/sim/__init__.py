"""Links that are not there: traces of real and scripted networks, and a proxy that makes loopback behave like them."""
