# Memory and time of a point of a million chunks.
title chunks "a point of $((1000000 * scale / 100)) chunks"
"$work/million_chunks" $((1000000 * scale / 100))
