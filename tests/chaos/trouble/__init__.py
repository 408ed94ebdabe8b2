"""An app whose one effect ends the process that runs it: the poison pill of a chaos run."""
