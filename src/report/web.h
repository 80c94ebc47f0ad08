/* web.h - the files of web/ and Chart.js, as web/embed.sh makes arrays of them. Each ends with a
 * zero that its size does not count. */
#ifndef REPORT_WEB_H
#define REPORT_WEB_H

#include <stddef.h>

extern const unsigned char web_page_html[], web_style_css[], web_page_js[], web_chart_js[];
extern const size_t web_page_html_size, web_style_css_size, web_page_js_size, web_chart_js_size;

#endif
