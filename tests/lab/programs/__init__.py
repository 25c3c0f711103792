"""The programs of a transcript's shell: kubectl, istioctl, curl and dig."""
