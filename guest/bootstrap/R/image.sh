# Run inside the new root file system when it is built.
#
# Compiles the bootstrap, which would take seconds at every boot. What is removed is R's documentation, its messages in
# other languages than the guest's, and what only a screen can use.
set -eu
cd /usr/lib/snapfaas
R --vanilla --no-echo \
	-e 'compiler::cmpfile("bootstrap.R", "bootstrap.Rc", options = list(suppressAll = TRUE))' >/dev/null
rm bootstrap.R
rm -rf /usr/lib/R/library/translations /usr/lib/R/library/tcltk /usr/lib/R/library/*/doc /usr/lib/R/library/*/help \
	/usr/lib/R/library/*/html /usr/lib/R/library/*/demo /usr/lib/R/library/*/tests \
	/usr/lib/R/site-library/*/doc /usr/lib/R/site-library/*/help /usr/lib/R/site-library/*/html \
	/usr/share/R/doc /usr/share/tcltk /usr/share/fonts /tmp/Rtmp*
