"""Pictures in: sources, safe decoding, the uint8 store, the vocabulary of conditions, and the feed of batches."""
