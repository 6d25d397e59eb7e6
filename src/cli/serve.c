/* serve: lyss serve and lyss dev. */
#include "cli/commands.h"
#include "cli/print.h"

int cmd_serve(int argc, char **argv, bool dev)
{
    (void)argc;
    (void)argv;
    print_note("this build cannot %s: it has no server", dev ? "run a demo" : "serve");
    return 1;
}
