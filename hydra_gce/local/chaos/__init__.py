"""Bad days: zones sold out, requests refused or lost, VMs that go. A scenario says what happens, how often and when.

`scenario` is what a file may say, `day` the scenario that is on, `draws` its chances and counts; `errors` and `stock`
are what the API then answers, `machines` what happens to VMs, `storage` what happens before Cloud Storage.
"""
