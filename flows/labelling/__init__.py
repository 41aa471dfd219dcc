"""What a person labels: rows worth a label, labels that are doubted, and what comes back."""
