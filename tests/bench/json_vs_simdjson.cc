// The JSON reader beside simdjson's DOM on the same texts, in interleaved rounds: each does what a
// gateway asks of a request (model, stream, number of messages) and prints its best round.
// Arguments: files. Output: one line a file, "name bytes ours_us simdjson_us ratio".
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <string>
#include <simdjson.h>

extern "C" {
#include "core/json_read.h"
}

static size_t sink;

static void ours(const std::string &text)
{
    json_doc d;
    if (json_parse(&d, str_make(text.data(), text.size()), nullptr) != ERR_OK)
        abort();
    sink += json_raw(&d, json_get(&d, 0, STR("model"))).n + json_size(&d, json_get(&d, 0, STR("messages"))) +
            json_is(&d, json_get(&d, 0, STR("stream")), JSON_TRUE);
}

static void theirs(simdjson::dom::parser &parser, const simdjson::padded_string &text)
{
    simdjson::dom::object o;
    if (parser.parse(text).get(o))
        abort();
    std::string_view model;
    simdjson::dom::array messages;
    bool stream = false;
    if (!o["model"].get(model))
        sink += model.size();
    if (!o["messages"].get(messages))
        sink += messages.size();
    if (!o["stream"].get(stream))
        sink += stream;
}

template <class F> static double round_us(size_t times, F f)
{
    auto t0 = std::chrono::steady_clock::now();
    for (size_t i = 0; i < times; i++)
        f();
    return std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - t0).count() /
           (double)times;
}

int main(int argc, char **argv)
{
    simdjson::dom::parser parser;
    for (int k = 1; k < argc; k++) {
        std::ifstream in(argv[k], std::ios::binary);
        std::string text{std::istreambuf_iterator<char>(in), {}};
        simdjson::padded_string padded(text);
        size_t times = 1 + 4000000 / text.size();
        double a = 1e9, b = 1e9;
        for (int round = 0; round < 40; round++) {
            a = std::min(a, round_us(times, [&] { ours(text); }));
            b = std::min(b, round_us(times, [&] { theirs(parser, padded); }));
        }
        const char *name = strrchr(argv[k], '/');
        printf("%-12s %7zu %9.3f %9.3f %6.2f\n", name ? name + 1 : argv[k], text.size(), a, b, a / b);
    }
    return sink == 0;
}
