/* cmd_usage: lyss usage: the rows of the ledger. */
#include "cli/commands.h"
#include "cli/print.h"

int cmd_usage(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    print_note("the ledger cannot be read yet");
    return 1;
}
