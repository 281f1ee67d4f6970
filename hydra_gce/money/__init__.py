"""What a sweep may cost, has cost, and must not cost. Pure: prices come with the candidates, time as an argument.

`ledger` knows every VM of a sweep and which job it worked for when; `budget` says whether another may be started;
`estimate` says it to a person beforehand and on the way; `report` shows it afterwards.
"""
