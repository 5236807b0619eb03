"""Dataset folders from dataset folders: chosen, merged, sampled, in shards; what reads many of them."""
