"""Workers: that they beat, how long their bodies may take, and how they leave."""
