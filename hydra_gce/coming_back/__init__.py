"""A sweep met again, by whoever did not launch it or does so once more: found, shown, changed, taken up."""
