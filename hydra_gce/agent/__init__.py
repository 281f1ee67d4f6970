"""All that runs on the VM. Of the laptop's side it imports only what both read: jobs, claims, bucket, mirror."""
