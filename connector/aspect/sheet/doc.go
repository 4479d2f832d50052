// Package sheet reads product carbon footprints from the files that people keep them in: CSV, Excel, JSON.
//
// Each row becomes one PCF aspect (io.catenax.pcf 9.0.0), checked like any other. What is wrong is reported all at once, with row,
// column, what stands there and what would be right. Decimals stay as they are written, digit for digit.
package sheet
