// The errors of this folder, one class per cause. Each says whether a retry can help and what the operator should do.
