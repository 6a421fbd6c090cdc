// Every bound of this folder, each with its reason.
