"""From groups of nodes to text: the loop nest that every target shares, and its printers."""
