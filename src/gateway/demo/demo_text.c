/* demo_text: what the demo model has to say, and how it is cut into pieces. */
#include "gateway/demo/demo_parts.h"

static const char *const tellings[] = {
    "Hello! I am the demo model that is built into Lyss, so no account and no key stand behind "
    "this "
    "answer. What you read was written in advance, and it is streamed to you piece by piece, at "
    "the "
    "pace of a real model. Everything around it is real, though: your request was checked, routed, "
    "metered and recorded just as it would be for any other provider. Add a channel of your own, "
    "and the same call will reach it.",

    "This is Lyss's demo model speaking. I cannot think about your question, since I am only a few "
    "paragraphs inside the gateway, but I can show you that everything works. The words arrive one "
    "after another as server-sent events; the usage at the end is counted; the request appears in "
    "the log with its latency and its cost. As soon as you connect a real provider, change the "
    "model's name and nothing else.",

    "Good news: your gateway is up. The text you see comes from the demo model of Lyss, which "
    "lives "
    "in the same process and never touches the network. It exists so that you can try streaming, "
    "tool calls, JSON output and limits before you enter the first credential. It does not "
    "understand what you wrote, and it answers in one of several ways that are chosen by your "
    "prompt. Real answers begin with your first channel.",

    "You have reached the demo model of Lyss. Think of me as a telephone that plays a recording: "
    "the line is real, the voice is not. Ask me twice and I will say the same thing twice; ask "
    "something else and you may hear another of my few stories. Meanwhile the gateway treats me as "
    "it treats every upstream, with timeouts, retries, quotas and a place on the dashboard. When "
    "you are ready, add a provider and let it take over.",

    "Here is an answer from Lyss's own demo model, made of words that were put into the program "
    "when "
    "it was built. It is good for a first curl, for a load test, and for seeing how a client takes "
    "a stream apart. It is of no use for homework, poems or code, for there is no neural network "
    "behind it at all. To talk to a model that knows something, create a channel with its address "
    "and its key, then call it by name.",
};

struct str demo_text(uint32_t seed)
{
    return str_c(tellings[seed % (sizeof tellings / sizeof *tellings)]);
}

static bool blank(char c)
{
    return c == ' ' || c == '\n' || c == '\t';
}

struct str demo_piece(struct str *rest)
{
    enum { WORD_MAX = 12 };
    size_t n = 0, word;
    while (n < rest->n && n < WORD_MAX && blank(rest->p[n]))
        n++;
    word = n;
    while (n < rest->n && n - word < WORD_MAX && !blank(rest->p[n]))
        n++;
    /* Continuation bytes belong to the character that is cut through. */
    while (n < rest->n && ((unsigned char)rest->p[n] & 0xc0) == 0x80)
        n++;
    struct str piece = str_make(rest->p, n);
    *rest = str_from(*rest, n);
    return piece;
}

unsigned demo_pieces(struct str text)
{
    unsigned n = 0;
    for (; text.n; n++)
        (void)demo_piece(&text);
    return n;
}
