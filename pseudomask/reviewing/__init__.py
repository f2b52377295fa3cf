"""The verb `review`: the page of `report`, served to this machine alone, with what a person says kept in the folder.

`verdicts` and `tags` are the two files that it writes; `again` names the commands that a new tag asks for; `session`
holds all of it for several tabs; `pictures` draws; `server` speaks HTTP and lets in only who knows the token.
"""
