# Makefile - the way in. Meson does the work; a target is what one would type.
#
#   make help      what there is
#   make JOBS=1    compile with one job at a time

prefix ?= /usr/local
build := build
checked := build-sanitize
ninja := ninja $(if $(JOBS),-j$(JOBS))
# Meson finds the sources when it configures: a folder that changed means configuring again.
folders := $(shell find src cli tests examples -type d)
configure = meson setup $(if $(wildcard $@),--reconfigure)

.PHONY: all setup demo test install clean tables format fuzz help

all: setup $(build)/build.ninja
	$(ninja) -C $(build)

setup:
	@./setup.sh

$(build)/build.ninja: $(folders) | setup
	$(configure) --buildtype=release --werror $(build)

$(checked)/build.ninja: $(folders) | setup
	$(configure) --buildtype=debugoptimized --werror -Db_ndebug=false -Db_lundef=false \
	    -Db_sanitize=address,undefined -Dc_args=-fno-sanitize-recover=all $(checked)

demo: all
	rm -rf runs/demo
	$(build)/retort run recipes/demo.yaml --out runs/demo

# Both test runs are made, whatever the first one says; the summary decides.
test: all $(checked)/build.ninja
	$(ninja) -C $(checked)
	@rm -f $(build)/meson-logs/testlog.* $(checked)/meson-logs/testlog.*
	-meson test -C $(build) --no-rebuild --print-errorlogs
	-meson test -C $(checked) --no-rebuild --print-errorlogs --no-suite source
	@tests/summary.sh $(build) $(checked)

install: all
	meson configure $(build) --prefix=$(prefix)
	DESTDIR=$(DESTDIR) meson install -C $(build)
	$(if $(DESTDIR),,-ldconfig)

clean:
	rm -rf $(build) $(checked) build-fuzz

# Every reader of data sets for $(seconds) seconds, from small files that were made for it.
fuzz:
	$(MAKE) -C fuzz run $(if $(seconds),seconds=$(seconds))

tables: all
	TEST_ROOT=. WRITE_TABLES=1 $(build)/tests/recipe-test_recipe_doc

format:
	@if command -v clang-format >/dev/null; then git ls-files '*.[ch]' | xargs clang-format -i; \
	else echo "make format: clang-format is not installed"; fi

help:
	@echo "make            install what is missing (apt), build"
	@echo "make demo       build and run recipes/demo.yaml into runs/demo"
	@echo "make test       build twice, the second time with sanitizers, and run all tests"
	@echo "make install    program, library, headers and manual page below prefix=$(prefix)"
	@echo "make tables     write the tables of doc/recipe.md anew from the program's"
	@echo "make fuzz       try every reader of data sets on damaged files, a minute each (needs clang)"
	@echo "make format     run clang-format over all C files"
	@echo "make clean      remove the build folders; runs/ stays"
