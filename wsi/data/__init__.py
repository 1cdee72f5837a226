"""What is learned from: tables, patches of slides and of archives, bags, reviews."""
